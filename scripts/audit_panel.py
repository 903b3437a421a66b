"""Audit the models of which the truth is known, and say which verdicts are right.

python scripts/audit_panel.py dataset=digits model=convnet audit.epsilon=64
"""

from defensive_tensorization.commands.audit import main_panel

if __name__ == "__main__":
    main_panel()
