// Package config is what Minikube compiles with in place of the configuration of AWS clients: go-getter has a getter for
// S3, and Minikube gives it those for files and HTTP alone.
package config

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

type LoadOptions struct{}

type option = func(*LoadOptions) error

func none(*LoadOptions) error { return nil }

func WithRegion(string) option                                   { return none }
func WithSharedConfigProfile(string) option                      { return none }
func WithCredentialsProvider(aws.CredentialsProvider) option     { return none }
func WithEC2IMDSClientEnableState(imds.ClientEnableState) option { return none }

func LoadDefaultConfig(context.Context, ...option) (aws.Config, error) {
	return aws.Config{}, errors.New("this Minikube is built without clients for AWS")
}
