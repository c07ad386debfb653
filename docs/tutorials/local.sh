# For the tutorials, from the repository's root, in bash or zsh: `source docs/tutorials/local.sh`.
# run_as WHO COMMAND…, token SITE PERSON, key CHANNEL, pid_of PROCESS, and addresses such as $INTAKE. PORT_OFFSET as given to make up.
PATH="$PWD/.venv/bin:$PATH"
_local="$PWD/docs/tutorials/local.py"
run_as() { python "$_local" as "$@"; }
token() { python "$_local" token "$@"; }
pid_of() { python "$_local" pid "$@"; }
key() { python "$_local" key "$@"; }
eval "$(python "$_local" addresses)"
