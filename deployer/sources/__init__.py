"""What images and releases are made from: build contexts, Dockerfiles, charts, Git, and digests of all of them."""
