"""Which rows make which table or figure, and where the files go."""
