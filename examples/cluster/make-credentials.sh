#!/bin/sh
# Makes what the machines of a cluster show each other, in ./credentials: needs openssl.
#
#   ./make-credentials.sh broker1.example 10.0.0.5   names and addresses that the broker is called by
#   ./make-credentials.sh --agent box1               later: credentials of one more agent
#
# ca.key signs the others: keep it off the machines of the cluster.
set -eu
umask 077
folder=${CREDENTIALS:-$(dirname "$0")/credentials}
days=${DAYS:-825}

# A private key, and a certificate of our CA for it. $1: name of the files, $2: subject, $3: extensions.
sign() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
    -keyout "$folder/$1.key" -out "$folder/$1.csr" 2>/dev/null
  printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" "$3" > "$folder/$1.ext"
  openssl x509 -req -in "$folder/$1.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial \
    -days "$days" -extfile "$folder/$1.ext" -out "$folder/$1.pem" 2>/dev/null
  rm "$folder/$1.csr" "$folder/$1.ext"
}

# A client: its key, its certificate and the CA in one file.
client() {
  sign "$1" "$1" "extendedKeyUsage=clientAuth"
  cat "$folder/$1.key" "$folder/$1.pem" "$folder/ca.pem" > "$folder/$1.creds"
  rm "$folder/$1.key" "$folder/$1.pem"
  echo "$folder/$1.creds"
}

if [ "${1:-}" = --agent ]; then
  [ -f "$folder/ca.key" ] || { echo "no $folder/ca.key: run it first without --agent" >&2; exit 1; }
  client "agent-${2:?the name of the agent}"
  exit
fi

[ $# -gt 0 ] || { echo "usage: $0 NAME-OR-ADDRESS-OF-THE-BROKER…" >&2; exit 1; }
[ ! -e "$folder" ] || { echo "$folder is there already: remove it first" >&2; exit 1; }
mkdir -p "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" -subj "/CN=script-runner cluster" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
  -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
names=
for name in "$@"; do
  case $name in
    *:* | *[0-9].[0-9]*.[0-9]*.[0-9]*) kind=IP ;;
    *) kind=DNS ;;
  esac
  names="$names${names:+,}$kind:$name"
done
sign broker broker "$(printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s' "$names")"
echo "$folder/broker.pem"
client front
client agent
