package flexvolume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pai-storage/pai-storage/internal/volume"
)

// Drivers are those that this package is, vendor/name.
var Drivers = []string{volume.FlexSMB, volume.FlexBlob}

// ErrForeign is for a driver that somebody else has installed.
var ErrForeign = errors.New("somebody else's driver is installed")

// Install puts a small script for each driver into the kubelet's directory, which calls program, whose path is the machine's. What is there already
// stays; one of somebody else's, too, and is told by an error that is [ErrForeign], unless replace is set.
func Install(dir, program string, replace bool) error {
	var faults []error
	for _, d := range Drivers {
		if err := install(dir, d, program, replace); err != nil {
			faults = append(faults, fmt.Errorf("FlexVolume driver %s: %w", d, err))
		}
	}
	return errors.Join(faults...)
}

const scriptHead = "#!/bin/sh\nexec "

func scriptTail(driver string) string { return " flexvolume " + driver + " \"$@\"\n" }

// ours tells whether a driver is a script of this package, of whichever program.
func ours(text []byte, driver string) bool {
	program, head := bytes.CutPrefix(text, []byte(scriptHead))
	program, tail := bytes.CutSuffix(program, []byte(scriptTail(driver)))
	return head && tail && !bytes.ContainsAny(program, " \n")
}

func install(dir, driver, program string, replace bool) error {
	_, name, _ := strings.Cut(driver, "/")
	place := filepath.Join(dir, strings.ReplaceAll(driver, "/", "~"))
	target := filepath.Join(place, name)
	text := []byte(scriptHead + program + scriptTail(driver))
	there, err := os.ReadFile(target)
	switch {
	case err == nil && bytes.Equal(there, text):
		return nil
	case err == nil && !replace:
		if !ours(there, driver) {
			return fmt.Errorf("%w in %s; remove it to have ours", ErrForeign, place)
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(place, 0o755); err != nil {
		return err
	}
	temporary := filepath.Join(place, "."+name+".tmp")
	if err := os.WriteFile(temporary, text, 0o755); err != nil {
		return err
	}
	return os.Rename(temporary, target)
}

// Installed lists the drivers in the kubelet's directory, vendor/name, sorted.
func Installed(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		vendor, name, ok := strings.Cut(e.Name(), "~")
		if !ok {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, e.Name(), name)); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			out = append(out, vendor+"/"+name)
		}
	}
	slices.Sort(out)
	return out, nil
}
