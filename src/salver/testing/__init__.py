"""For tests of what is built with Salver: apps in this process, leak checks, a virtual clock."""
