//go:build tools

package tools

import (
	_ "k8s.io/minikube/cmd/minikube"
	_ "k8s.io/minikube/cmd/storage-provisioner"
)
