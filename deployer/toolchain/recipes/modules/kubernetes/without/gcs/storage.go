// Package storage is what Minikube compiles with in place of the client of Google Cloud Storage, with which it looks for
// archives of images: there is no client, and what would be done with one is not called.
package storage

import (
	"context"
	"errors"
	"io"

	"google.golang.org/api/option"
)

type (
	Client         struct{}
	BucketHandle   struct{}
	ObjectHandle   struct{}
	ObjectIterator struct{}
	Query          struct{ Prefix string }
	Reader         struct{ io.ReadCloser }
	ObjectAttrs    struct {
		Name string
		MD5  []byte
	}
)

var errNone = errors.New("this Minikube is built without a client for Google Cloud Storage")

func NewClient(context.Context, ...option.ClientOption) (*Client, error) { return nil, errNone }

func (*Client) Bucket(string) *BucketHandle                           { return nil }
func (*BucketHandle) Object(string) *ObjectHandle                     { return nil }
func (*BucketHandle) Objects(context.Context, *Query) *ObjectIterator { return nil }
func (*ObjectHandle) Generation(int64) *ObjectHandle                  { return nil }
func (*ObjectHandle) Attrs(context.Context) (*ObjectAttrs, error)     { return nil, errNone }
func (*ObjectHandle) NewReader(context.Context) (*Reader, error)      { return nil, errNone }
func (*ObjectIterator) Next() (*ObjectAttrs, error)                   { return nil, errNone }
