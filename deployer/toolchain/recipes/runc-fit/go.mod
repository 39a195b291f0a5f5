module todo-deploy.local/runc-fit

go 1.24
