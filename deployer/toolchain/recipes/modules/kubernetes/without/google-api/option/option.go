// Package option has the options of a client for Google Cloud Storage; see ../../gcs.
package option

import "golang.org/x/oauth2"

type ClientOption struct{}

func WithoutAuthentication() ClientOption             { return ClientOption{} }
func WithTokenSource(oauth2.TokenSource) ClientOption { return ClientOption{} }
