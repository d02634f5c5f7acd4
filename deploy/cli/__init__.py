"""The command `warmroute`: one module per subcommand, each with `add()` and `run()`."""
