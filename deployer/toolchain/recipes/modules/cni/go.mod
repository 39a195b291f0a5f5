module todo-deploy.local/toolchain/cni

go 1.25.0

require github.com/containernetworking/plugins v1.7.1 // indirect
