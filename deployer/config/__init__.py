"""The spec (`todo-deploy.yaml`): its models, reading it with the origin of every value, its schema, its paths."""
