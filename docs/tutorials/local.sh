# For the tutorials, from the repository's root, in bash or zsh: `source docs/tutorials/local.sh`.
# run_as WHO COMMAND…, token SITE PERSON, key CHANNEL, and addresses such as $INTAKE. PORT_OFFSET as given to make up.
PATH="$PWD/.venv/bin:$PATH"
run_as() { python docs/tutorials/local.py as "$@"; }
token() { python docs/tutorials/local.py token "$@"; }
key() { python docs/tutorials/local.py key "$@"; }
eval "$(python docs/tutorials/local.py addresses)"
