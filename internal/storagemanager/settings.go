package storagemanager

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
)

// maxPassword bounds a password's file, in bytes.
const maxPassword = 4096

// revisionFile lies beside the section and beside the passwords. Where the two differ, the kubelet has replaced one of them so far.
const revisionFile = "revision"

var errHalf = errors.New("the configuration and its passwords are not of the same revision")

// revision of the files, "" where there is none.
func (o options) revision() (string, error) {
	var texts [2]string
	for i, dir := range []string{filepath.Dir(o.config), o.passwords} {
		text, err := os.ReadFile(filepath.Join(dir, revisionFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		texts[i] = strings.TrimSpace(string(text))
	}
	if texts[0] != texts[1] {
		return "", errHalf
	}
	return texts[0], nil
}

// read loads the section and the passwords.
func (o options) read() (clusterconfig.StorageManager, error) {
	section, passwords, err := o.files()
	if err != nil {
		return clusterconfig.StorageManager{}, err
	}
	return clusterconfig.LoadStorageManager(section, passwords)
}

func (o options) files() (section []byte, passwords map[string]string, err error) {
	if section, err = os.ReadFile(o.config); err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	passwords = map[string]string{}
	entries, err := os.ReadDir(o.passwords)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("passwords: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == revisionFile { // the kubelet's own, and ours
			continue
		}
		text, err := os.ReadFile(filepath.Join(o.passwords, e.Name()))
		if err != nil {
			return nil, nil, fmt.Errorf("passwords: %w", err)
		}
		if len(text) > maxPassword {
			return nil, nil, fmt.Errorf("passwords: %s is longer than %d bytes", e.Name(), maxPassword)
		}
		passwords[e.Name()] = strings.TrimSuffix(string(text), "\n")
	}
	return section, passwords, nil
}

// lookEvery is how often the files are looked at. The kubelet replaces them some time after their objects change.
const lookEvery = 2 * time.Second

// follow uses a changed configuration. One that cannot be used is reported, and the one before it stays in use.
func (o options) follow(ctx context.Context, m *manager) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last []byte
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		before, err := o.revision()
		if err != nil {
			continue // while the kubelet replaces them
		}
		section, passwords, err := o.files()
		after, again := o.revision()
		if err != nil || again != nil || before != after {
			continue
		}
		print := fingerprint(section, passwords)
		if bytes.Equal(print, last) {
			m.revise(after)
			continue
		}
		last = print
		settings, err := clusterconfig.LoadStorageManager(section, passwords)
		if err == nil && settings.LocalPath != m.layout.root {
			err = fmt.Errorf("localpath: %s is in use until the service is started anew", m.layout.root)
		}
		if err == nil && settings.SecurityType != m.securityType() {
			m.log.Info("security-type changes: starting anew")
			return errAnew
		}
		m.configure(settings, err, after)
	}
}

// errAnew ends the program, so that its container starts it anew.
var errAnew = errors.New("the new configuration takes a new process")

func (m *manager) securityType() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings.SecurityType
}

// revise notes the revision of files that say what the ones before said. It counts once it is applied.
func (m *manager) revise(revision string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.read != revision {
		m.read = revision
		m.wake()
	}
}

// configure takes the settings of a revision into use, or notes why they cannot be. Until the next ones that stays so.
func (m *manager) configure(settings clusterconfig.StorageManager, fault error, revision string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read, m.unusable = revision, fault
	if fault != nil {
		m.log.Error("the new configuration is not used", "cause", fault.Error())
	} else {
		m.settings = settings
	}
	m.wake()
}

// fingerprint tells contents apart.
func fingerprint(section []byte, passwords map[string]string) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q", section)
	for _, key := range slices.Sorted(maps.Keys(passwords)) {
		fmt.Fprintf(h, "%q=%q", key, passwords[key])
	}
	return h.Sum(nil)
}
