// Package iterator has the end of a listing; see ../../gcs.
package iterator

import "errors"

var Done = errors.New("no more items in iterator")
