"""The desk's hands: where dossiers and the catalogue are kept, and how decisions leave."""
