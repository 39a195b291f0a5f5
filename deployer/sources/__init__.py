"""What is built and deployed, as it lies in the repository: build contexts, Dockerfiles, charts, Git, env files."""
