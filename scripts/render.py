"""Render a table and its figure from whatever rows exist.

python scripts/render.py table1 scale=cpu
"""

from defensive_tensorization.tables.render import main

if __name__ == "__main__":
    main()
