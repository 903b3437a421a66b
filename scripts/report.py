"""One page of everything at a scale: tables, figures, audits, rows, and what was not run.

python scripts/report.py scale=cpu
"""

from defensive_tensorization.commands.report import main

if __name__ == "__main__":
    main()
