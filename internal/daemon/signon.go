package daemon

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/pai-storage/pai-storage/internal/auth"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// signOnFlags say where users come from.
type signOnFlags struct {
	mode       string
	provider   auth.OpenID
	secretFile string
	scopes     string
	adminGroup string
}

func (o *signOnFlags) register(f *flag.FlagSet) {
	f.StringVar(&o.mode, "authn", "basic", "where users come from: basic (passwords, kept here) or oidc (an OpenID provider)")
	f.StringVar(&o.provider.Issuer, "oidc-issuer", "", "`URL` of the OpenID provider")
	f.StringVar(&o.provider.ClientID, "oidc-client-id", "", "`id` of this server at the provider")
	f.StringVar(&o.secretFile, "oidc-client-secret-file", "", "`file` with the secret that belongs to the id; none for a public client")
	f.StringVar(&o.provider.RedirectURL, "oidc-redirect-url", "", "`URL` of .../api/v2/authn/oidc/return as browsers see it")
	f.StringVar(&o.scopes, "oidc-scopes", "openid profile email", "what to ask the provider for")
	f.StringVar(&o.provider.UsernameClaim, "oidc-username-claim", "preferred_username", "`claim` that holds the user's name; what follows an @ is left out")
	f.StringVar(&o.provider.GroupsClaim, "oidc-groups-claim", "groups", "`claim` that lists the user's groups by their external names")
	f.StringVar(&o.adminGroup, "oidc-admin-group", "", "external `name` of the group of administrators, unless the group has one")
	f.BoolVar(&o.provider.AdoptUsers, "oidc-adopt-users", false, "let users who never came from the provider be taken over by whoever comes under their name")
}

// on tells whether users come from a provider.
func (o *signOnFlags) on() bool { return o.mode == "oidc" }

// check names every fault of the flags.
func (o *signOnFlags) check(bootstrapAdmin string) error {
	switch {
	case o.mode == "", o.mode == "basic":
		return nil
	case o.mode != "oidc":
		return fmt.Errorf("--authn %s: expected basic or oidc", o.mode)
	case bootstrapAdmin != "":
		return errors.New("--bootstrap-admin is for --authn basic: with oidc, --oidc-admin-group says who is an administrator")
	}
	if err := o.provider.Check(); err != nil {
		return fmt.Errorf("--authn oidc: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// openID is the provider with the secret from its file.
func (o *signOnFlags) openID() (auth.OpenID, error) {
	p := o.provider
	p.Scopes = strings.Fields(o.scopes)
	if o.secretFile == "" {
		return p, nil
	}
	secret, err := os.ReadFile(o.secretFile)
	if err == nil {
		secret, err = yamltext.Text(secret)
	}
	if err != nil {
		return p, fmt.Errorf("--oidc-client-secret-file: %w", err)
	}
	p.ClientSecret = strings.TrimSpace(string(secret))
	return p, nil
}
