"""`runtime_env` made real: folders, modules and packages as entries of `sys.path`."""
