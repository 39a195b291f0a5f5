MESSAGE = "one"
