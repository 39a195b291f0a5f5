module todo-deploy.local/kindnetd

go 1.24
