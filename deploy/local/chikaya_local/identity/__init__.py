"""The local OpenID provider: ready-made people sign in with one click, standard OpenID Connect for everything else."""
