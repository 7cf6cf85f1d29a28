package qemu

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestVersions(t *testing.T) {
	for said, want := range map[string]struct {
		version   Version
		emulation string
	}{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright": {Version{7, 2}, "tcg,thread=single"},
		"QEMU emulator version 8.0.5":                                         {Version{8, 0}, "tcg,thread=single"},
		"QEMU emulator version 8.1.0":                                         {Version{8, 1}, "tcg,thread=multi"},
		"QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)": {Version{10, 0}, "tcg,thread=multi"},
	} {
		got, err := parse(said)
		if q := (QEMU{Version: got}); err != nil || got != want.version || q.Emulation() != want.emulation {
			t.Errorf("%q: %v, %v, %s", said, got, err, q.Emulation())
		}
	}
	for _, said := range []string{"", "QEMU emulator version x", "qemu-img version 7.2"} {
		if v, err := parse(said); err == nil {
			t.Errorf("%q is taken for %v", said, v)
		}
	}
}

func TestCodename(t *testing.T) {
	for text, want := range map[string]string{
		"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n": "bookworm",
		"ID=\"debian\"\nVERSION_CODENAME='trixie'":                                               "trixie",
		"ID=ubuntu\nVERSION_CODENAME=noble\n":                                                    "",
		"ID=debian\n":                                                                            "",
	} {
		file := filepath.Join(t.TempDir(), "os-release")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := codename(file); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// TestPlaces: an unpacked QEMU is told where its parts are, an installed one knows.
func TestPlaces(t *testing.T) {
	if q := (QEMU{Path: Installed}); !slices.Equal(q.Args("-S"), []string{"-S"}) || q.Env() != nil {
		t.Errorf("installed: %q, %q", q.Args("-S"), q.Env())
	}
	q := QEMU{Root: "/cache/root"}
	if args := q.Args("-S"); args[1] != "/cache/root/usr/share/qemu" || args[len(args)-1] != "-S" || !slices.Equal(q.Env(), []string{"QEMU_MODULE_DIR=/cache/root/usr/lib/x86_64-linux-gnu/qemu"}) {
		t.Errorf("unpacked: %q, %q", args, q.Env())
	}
}
