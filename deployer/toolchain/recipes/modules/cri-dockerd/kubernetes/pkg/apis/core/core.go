// The packages below k8s.io/kubernetes are what cri-dockerd uses of Kubernetes v1.29, over the version whose libraries
// the other programs are made of. What only its plugin kubenet calls is there too, and is not used: nodes run CNI.
package core

// TerminationMessagePathDefault is the file for a container's last words.
const TerminationMessagePathDefault = "/dev/termination-log"
