// Package s3 is what Minikube compiles with in place of the client for S3: go-getter has a getter that uses it, and
// Minikube gives it those for files and HTTP alone.
package s3

import (
	"context"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
)

type (
	Client  struct{}
	Options struct {
		UsePathStyle bool
		BaseEndpoint *string
	}
	ListObjectsV2Input     struct{ Bucket, Prefix *string }
	ListObjectsV2Output    struct{ Contents []struct{ Key *string } }
	ListObjectsV2Paginator struct{}
	GetObjectInput         struct{ Bucket, Key, VersionId *string }
	GetObjectOutput        struct {
		Body          io.ReadCloser
		ContentLength *int64
	}
)

var errNone = errors.New("this Minikube is built without a client for S3")

func NewFromConfig(aws.Config, ...func(*Options)) *Client { return nil }

func NewListObjectsV2Paginator(*Client, *ListObjectsV2Input) *ListObjectsV2Paginator { return nil }

func (*ListObjectsV2Paginator) HasMorePages() bool { return true }
func (*ListObjectsV2Paginator) NextPage(context.Context) (*ListObjectsV2Output, error) {
	return nil, errNone
}
func (*Client) GetObject(context.Context, *GetObjectInput) (*GetObjectOutput, error) {
	return nil, errNone
}
