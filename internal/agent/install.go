package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// mountProgram is the engine: the kubelet calls it on the machine.
const mountProgram = "pai-mount"

// programs are what the agent puts on the machine: the kubelet calls them there, and they outlive the agent.
var programs = []string{mountProgram, "object-mount"}

// installPrograms copies programs out of the agent's image. One that runs at the moment keeps the file that it was started from.
func installPrograms(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("install programs: %w", err)
	}
	var faults []error
	for _, name := range programs {
		if err := installProgram(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			faults = append(faults, fmt.Errorf("install %s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

func installProgram(source, target string) error {
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	switch there, err := os.ReadFile(target); {
	case err == nil && bytes.Equal(there, text):
		return os.Chmod(target, 0o755)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return renameio.WriteFile(target, text, 0o755)
}
