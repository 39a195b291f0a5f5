"""`python -m deployer` is the same program as `todo-deploy`."""

from deployer.cli import main

if __name__ == "__main__":
    main()
