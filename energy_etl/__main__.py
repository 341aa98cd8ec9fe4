"""`python -m energy_etl` is `energy-etl`."""

from energy_etl.cli import main

if __name__ == "__main__":
    main()
