"""What `make` calls beside a run: status, report, clean, merge, audit, dashboard."""
