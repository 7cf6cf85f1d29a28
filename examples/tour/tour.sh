#!/bin/bash
# The tour: the main job of the system, step by step, on a cluster that "paictl up" has started. Each command
# is printed as one would type it, then its real output, then what was to be seen.
#
#   examples/tour/tour.sh [NAME]      NAME of the cluster, by default "default"
set -u
cd "$(dirname "$0")/../.."
cluster=${1:-default}
started=$SECONDS

field() { bin/paictl status --name "$cluster" --output json | sed -n "s/^  \"$1\": \"\(.*\)\",\{0,1\}$/\1/p"; }
state=$(field stateDir)
[ -n "$state" ] || { echo "the cluster \"$cluster\" does not run; start it with: bin/paictl up --name $cluster" >&2; exit 1; }
eval "$(bin/paictl env --name "$cluster")"
export XDG_CONFIG_HOME=$state/tour
mkdir -p "$XDG_CONFIG_HOME"

# One tour after the other on the same cluster: names of jobs are taken for ever.
stamp=$(date +%m%d-%H%M%S)
output=

bold= plain=
[ -t 1 ] && bold=$'\033[1m' plain=$'\033[0m'
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
# show COMMAND...: the command with the quotes that one would type.
show() {
	local word line='$'
	for word; do
		[[ $word =~ ^[A-Za-z0-9_./:=@~,+%{}-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
		line+=" $word"
	done
	printf '\n%s\n' "$line"
}
fail() {
	printf '\nThe tour stops here: %s\n' "$1"
	printf 'See more:  %s\n' "kubectl --kubeconfig $KUBECONFIG get events --sort-by=.lastTimestamp" \
		"bin/paictl status --name $cluster" "the logs in $state"
	exit 1
}
# run COMMAND...: shows it, runs it, shows what it says; it must succeed.
run() {
	show "$@"
	output=$("$@" 2>&1)
	local status=$?
	printf '%s\n' "$output"
	[ $status = 0 ] || fail "\"$*\" ended with exit status $status"
}
# run_failing COMMAND...: the same, but it must not succeed.
run_failing() {
	show "$@"
	output=$("$@" 2>&1) && fail "\"$*\" succeeded, which it must not"
	printf '%s\n' "$output"
}
# see TEXT: the last output has it.  see_not TEXT: it has not.
see() { case $output in *"$1"*) printf '  ✓ %s\n' "$2" ;; *) fail "\"$1\" was expected in the output above ($2)" ;; esac; }
see_not() { case $output in *"$1"*) fail "\"$1\" must not be in the output above ($2)" ;; *) printf '  ✓ %s\n' "$2" ;; esac; }
# user NAME: signs a user in, who is made with a generated password the first time; who is the user's name then. A user of that name who is somebody
# else's, or whose password somebody changed, is left alone: the tour takes one of its own.
who=
user() {
	local file
	for who in "$1" "tour-$1"; do
		file=$XDG_CONFIG_HOME/password-of-$who
		[ -e "$file" ] && paictl login --user "$who" --password-file "$file" >/dev/null 2>&1 && return
		paictl --user admin user show "$who" >/dev/null 2>&1 && continue
		(umask 077; head -c 18 /dev/urandom | base64 >"$file")
		run paictl --user admin user create "$who" --password-file "$file"
		run paictl login --user "$who" --password-file "$file"
		return
	done
	fail "the users $1 and tour-$1 are there, and the tour does not know their passwords"
}
storage() { # file claim
	run kubectl apply -f "$1"
	run kubectl wait --for=jsonpath='{.status.phase}'=Bound --timeout=60s "pvc/$2"
	run paictl --user admin storage grant default "$2"
}

title "The cluster"
name=
[ "$cluster" = default ] || name=" --name $cluster"
printf '\n$ eval "$(bin/paictl env%s)"\n' "$name"
run kubectl get nodes -o wide
see " Ready " "a worker with a Linux kernel of its own is Ready"

title "A worker becomes an NFS and SMB server"
configuration=$state/tour/cluster-configuration
run paictl.py config pull -o "$configuration" --force
if ! grep -q pai-storage: "$configuration/layout.yaml"; then
	printf '\nNow the edits: pai-storage: "true" for worker1 in layout.yaml, and the section storage-manager of services-configuration.yaml.\n'
	sed -i '/hostname: worker1$/,/pai-worker/s/^    pai-worker: "true"$/&\n    pai-storage: "true"  # this line is newly added/' "$configuration/layout.yaml"
	sed -i -e 's/^# \(storage-manager:\)/\1/' -e 's/^#   \(localpath\|smbuser\|smbpwd\): /  \1: /' -e 's/^#   \(security-type\|workgroup\)/#  \1/' \
		"$configuration/services-configuration.yaml"
	run paictl config diff -p "$configuration"
	see_not "smbpwd: smbpwd" "passwords are not shown"
	run paictl.py service stop -n cluster-configuration storage-manager
	run paictl.py config push -p "$configuration" -m service
fi
run paictl.py service start -n cluster-configuration storage-manager
see "worker1" "worker1 serves /share/data and /share/users"
run paictl config show --origin
see "services-configuration.yaml:" "every value says where it comes from"
run paictl node exec --name "$cluster" worker1 -- ls -l /share
see "users" "the folders are there"
run paictl storage-server status
see "SMB" "the servers, their shares and clients"

title "The administrator declares a storage and grants it to the group \"default\""
run paictl login --user admin --password-file "$state/admin-password"
storage examples/nfs-storage.yaml nfs-storage
run kubectl get pvc nfs-storage
see Bound "the claim's name is the storage's name"
run paictl --user admin group show default
see nfs-storage "every member of \"default\" may mount it"

title "A user mounts it in a job"
user alice
alice=$who
run paictl --user "$alice" storage list
see nfs-storage "alice sees what her groups grant"
run paictl --user "$alice" job submit --wait --name "write-$stamp" examples/tour/write.yaml
run paictl --user "$alice" job logs "$alice~write-$stamp"
see "type nfs4" "the container has it mounted by the worker's kernel"
see "vers=4.1" "with NFS 4.1, as the volume's mountOptions say"
run paictl node exec --name "$cluster" worker1 -- cat /share/data/hello.txt
see "written by write-$stamp of $alice" "the server has what the job wrote"

title "A personal storage: each user sees only the user's own folder"
storage examples/tour/home-storage.yaml home
user bob
bob=$who
run paictl --user "$alice" job submit --name "home-$stamp" examples/tour/home.yaml
run paictl --user "$bob" job submit --name "home-$stamp" examples/tour/home.yaml
run paictl --user "$alice" job logs --follow "$alice~home-$stamp"
see "10.0.0.1:/users/$alice on /mnt/home" "alice's mount is her folder"
see "note-of-$alice.txt" "and has her file"
run paictl --user "$bob" job logs --follow "$bob~home-$stamp"
see "note-of-$bob.txt" "bob's folder has bob's file"
see_not "$alice" "and nothing of alice's"
run_failing paictl --user "$bob" job logs "$alice~home-$stamp"
see_not "private" "bob does not get to see alice's job either"
run paictl node exec --name "$cluster" worker1 -- sh -c 'cd /share/users && ls -d */*'
see "$alice/note-of-$alice.txt" "on the server the files lie in the users' folders"

title "A read-only storage"
storage examples/tour/readonly-storage.yaml datasets
run_failing paictl --user "$alice" job submit --wait --name "readonly-$stamp" examples/tour/readonly.yaml
see FAILED "the job fails"
run paictl --user "$alice" job logs "$alice~readonly-$stamp"
see "written by write-$stamp of $alice" "reading works"
see "Read-only file system" "writing does not"

title "The same in one command, without kubectl"
run paictl --user admin storage add projects nfs://10.0.0.1/data --mount-option nfsvers=4.1 --read-only --grant default
see "ready" "volume and claim are made and bound, and the storage is granted"
run paictl --user "$alice" job submit --wait --name "projects-$stamp" examples/tour/projects.yaml
run paictl --user "$alice" job logs "$alice~projects-$stamp"
see "written by write-$stamp of $alice" "alice mounts it"
run paictl --user admin storage list --all
see "projects" "administrators see who has which storage, and what mounts it"
run paictl --user admin storage remove projects --revoke --yes
see "data" "the data stays"
run paictl node exec --name "$cluster" worker1 -- cat /share/data/hello.txt
see "written by write-$stamp of $alice" "as one sees on the server"
run paictl --user admin audit --kind storage --limit 2
see "projects" "and the audit trail knows who did it"

title "That was the main job, for real, in $((SECONDS - started)) seconds"
run paictl status --name "$cluster"
cat <<END

Try next:
  bin/paictl login --server $PAI_SERVER --user admin --password-file $state/admin-password
  bin/paictl storage list
  kubectl: KUBECONFIG=$KUBECONFIG $(command -v kubectl) get pods,pvc,pv -A
  look into a worker:   bin/paictl node exec --name $cluster worker1 -- ls -lR /share
  write a job of your own: see examples/tour/write.yaml
  stop everything:      make down
END
