package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// credentials is who signed in where. Several servers and users at once are normal.
type credentials struct {
	Current string                  `json:"current"` // server of the last login
	Servers map[string]serverLogins `json:"servers"`
}

type serverLogins struct {
	Current string           `json:"current"` // user of the last login
	Users   map[string]login `json:"users"`
}

type login struct {
	Token string `json:"token"`
	Admin bool   `json:"admin"`
}

// canonicalServer makes one key of the spellings of one server.
func canonicalServer(server string) string {
	if u, err := url.Parse(server); err == nil {
		u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
		server = u.String()
	}
	return strings.TrimRight(server, "/")
}

func credentialsFile() (string, error) {
	dir, err := os.UserConfigDir() // $XDG_CONFIG_HOME, else ~/.config
	if err != nil {
		return "", fmt.Errorf("find the directory of credentials: %w", err)
	}
	return filepath.Join(dir, "pai-storage", "credentials.json"), nil
}

func loadCredentials() (credentials, error) {
	c := credentials{Servers: map[string]serverLogins{}}
	file, err := credentialsFile()
	if err != nil {
		return c, err
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read credentials: %w", err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("read credentials: %s: %w; remove the file and sign in again", file, err)
	}
	if c.Servers == nil {
		c.Servers = map[string]serverLogins{}
	}
	return c, nil
}

// changeCredentials changes the credentials file. A lock keeps two logins at once from losing one of them.
func changeCredentials(change func(*credentials)) error {
	file, err := credentialsFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep credentials: %w", err)
	}
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("keep credentials: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	c, err := loadCredentials()
	if err != nil {
		return err
	}
	change(&c)
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("keep credentials: %w", err)
	}
	if err := renameio.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep credentials: %w", err)
	}
	return nil
}

// remember makes a login the current one.
func remember(server, user string, l login) error {
	return changeCredentials(func(c *credentials) {
		at := c.Servers[server]
		if at.Users == nil {
			at.Users = map[string]login{}
		}
		at.Users[user], at.Current = l, user
		c.Servers[server], c.Current = at, server
	})
}

// forget drops a login.
func forget(server, user string) error {
	return changeCredentials(func(c *credentials) {
		at := c.Servers[server]
		delete(at.Users, user)
		if at.Current == user {
			at.Current = ""
		}
		c.Servers[server] = at
		if len(at.Users) == 0 {
			delete(c.Servers, server)
			if c.Current == server {
				c.Current = ""
			}
		}
	})
}
