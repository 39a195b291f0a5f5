// Minikube's storage provisioner without leader election: the library elects by an Endpoints lock, which client-go no
// longer has, and a cluster has one provisioner.
package main

import (
	"context"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/minikube/pkg/storage"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v6/controller"
)

const (
	name   = "k8s.io/minikube-hostpath"
	folder = "/tmp/hostpath-provisioner"
)

func main() {
	if err := os.MkdirAll("/tmp", 0o755); err != nil { // klog writes there
		klog.Exit(err)
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		klog.Exit(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		klog.Exit(err)
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		klog.Exit(err)
	}
	provisioner := storage.NewHostPathProvisioner(folder)
	controller.NewProvisionController(
		client, name, provisioner, version.GitVersion, controller.LeaderElection(false),
	).Run(context.Background())
}
