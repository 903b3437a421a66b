"""Audit the models of which the truth is known, and say which verdicts are right.

python scripts/audit_panel.py dataset=digits model=convnet audit.epsilon=64
python scripts/audit_panel.py members=undefended,resize_pad dataset=digits model=convnet
"""

from defensive_tensorization.commands.audit_panel import main

if __name__ == "__main__":
    main()
