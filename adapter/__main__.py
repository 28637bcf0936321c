"""`python -m adapter` is `coc-adapter`."""

from adapter.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
