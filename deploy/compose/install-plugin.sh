#!/bin/sh
# Builds the compose plug-in of the docker client with Go (about four minutes, once) and puts it where the client looks:
# for a machine that has the client and Go, and no packaged plug-in. Nothing is done where there is a plug-in already.
set -eu
module=github.com/docker/compose/v2
version=v2.40.3
if docker compose version 2>/dev/null; then
    exit
fi
command -v go >/dev/null || {
    echo "Go is needed, or the plug-in from your distribution's packages (Debian 12 has version 1 alone)." >&2
    exit 1
}
plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
# Outside any module: the one that is named, checked against Go's checksum database.
source=$(go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$source" compose
chmod -R u+w compose
cd compose
echo "Building $module@$version …"
go build -trimpath -ldflags "-s -w -X $module/internal.Version=$version" -o "$work/docker-compose" ./cmd
mkdir -p "$plugins"
mv "$work/docker-compose" "$plugins/docker-compose"
docker compose version
