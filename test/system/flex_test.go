package system

import "testing"

// flexDriver is a FlexVolume driver as administrators install it by hand: a script that mounts SMB shares. It says what is wrong in the
// words of mount.cifs, and passes the password by the environment.
func (f *faultLab) flexDriver(t *testing.T) {
	t.Helper()
	const dir = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/microsoft.com~smb"
	for _, worker := range []string{"worker1", "worker2"} {
		f.undo(t, worker, "rm -rf "+dir)
		f.on(t, worker, "mkdir -p "+dir+" && cat > "+dir+"/.smb <<'END'\n"+flexScript+"END\nchmod 755 "+dir+"/.smb && mv "+dir+"/.smb "+dir+"/smb")
	}
}

const flexScript = `#!/bin/bash
value() { sed -n 's/.*"'"${1//\//\\/}"'":"\([^"]*\)".*/\1/p' <<< "$2"; }
fail() { printf '{"status":"Failure","message":"%s"}' "$(tr '\n"\\' ' ' <<< "$1")"; exit 1; }
case "$1" in
init) echo '{"status":"Success","capabilities":{"attach":false}}' ;;
mount)
	source=$(value source "$3")
	USER=$(value kubernetes.io/secret/username "$3" | base64 -d)
	PASSWD=$(value kubernetes.io/secret/password "$3" | base64 -d)
	export USER PASSWD
	[ -n "$USER" ] || fail "the Secret lacks the key username"
	[ -n "$PASSWD" ] || fail "the Secret lacks the key password"
	mkdir -p "$2"
	said=$(mount -t cifs -o vers=3.0,file_mode=0777,dir_mode=0777 "$source" "$2" 2>&1) || fail "$said"
	echo '{"status":"Success"}' ;;
unmount)
	umount "$2" >/dev/null 2>&1
	echo '{"status":"Success"}' ;;
*) echo '{"status":"Not supported"}' ;;
esac
`
