package auth

import (
	"context"
	"slices"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// identity is whom an identity provider vouches for.
type identity struct {
	issuer, subject string
	name            pai.UserName
	email           string
	verified        bool     // the email address is that person's
	groups          []string // as the provider names them
}

// key is how a user's record names the person. An issuer is a URL, so it has no blank.
func (id identity) key() string { return id.issuer + " " + id.subject }

// browserLifetime is how long a browser stays signed in that came from the provider. Then the provider is asked again, and with it the groups.
const browserLifetime = 12 * time.Hour

// loginAs signs a person in, who is created at first, as a member of the groups that the provider says.
func (a *Accounts) loginAs(ctx context.Context, id identity, adopt bool) (pai.Session, error) {
	ctx = pai.WithCaller(ctx, pai.Caller{User: id.name}) // for the audit trail
	user, err := a.cluster.User(ctx, id.name)
	if pai.CodeOf(err) == pai.NoUserError {
		user, err = a.createFrom(ctx, id)
	}
	if err == nil || pai.CodeOf(err) == pai.ConflictUserError { // another replica may have created the user meanwhile
		user, err = a.cluster.ChangeUser(ctx, id.name, "", func(u pai.User) (pai.User, error) { return a.update(ctx, u, id, adopt) })
	}
	if err != nil {
		return pai.Session{}, err
	}
	token, err := a.issue(ctx, user.Name, browserLifetime)
	return pai.Session{Token: token, User: user.Name, Admin: a.grants(user).Admin}, err
}

func (a *Accounts) createFrom(ctx context.Context, id identity) (pai.User, error) {
	if id.name == pai.ReservedUserName {
		return pai.User{}, pai.Errorf(pai.ForbiddenUserError, `The identity provider calls you "me", which cannot be the name of a user.`)
	}
	groups, err := a.membershipsOf(ctx, id, []pai.GroupName{pai.DefaultGroup})
	if err != nil {
		return pai.User{}, err
	}
	user := pai.User{Name: id.name, Email: id.email, Groups: groups, Identity: id.key()}
	return user, a.cluster.CreateUser(ctx, user)
}

// update brings a user's record up to what the provider says.
func (a *Accounts) update(ctx context.Context, u pai.User, id identity, adopt bool) (pai.User, error) {
	sameAddress := u.Email != "" && id.verified && strings.EqualFold(u.Email, id.email)
	switch {
	case u.Identity == id.key():
	case u.Identity != "":
		return u, pai.Errorf(pai.ConflictUserError, "The user name %s belongs to somebody else at the identity provider.", u.Name)
	case !adopt && !sameAddress:
		return u, pai.Errorf(pai.ConflictUserError,
			"There is a user %s already, who never came from the identity provider and has another email address. Ask an administrator if that is you.", u.Name)
	}
	groups, err := a.membershipsOf(ctx, id, u.Groups)
	if err != nil {
		return u, err
	}
	u.Identity, u.Groups = id.key(), groups
	if id.email != "" {
		u.Email = id.email
	}
	return u, nil
}

// membershipsOf is what the provider makes of a user's groups. A group with an external name is the provider's: it alone decides who is a
// member. Memberships of other groups stay. ForbiddenUserError when no group that exists is left.
func (a *Accounts) membershipsOf(ctx context.Context, id identity, had []pai.GroupName) ([]pai.GroupName, error) {
	all, err := a.cluster.Groups(ctx)
	if err != nil {
		return nil, err
	}
	known := map[pai.GroupName]pai.Group{}
	var granted []pai.GroupName
	for _, g := range all {
		known[g.Name] = g
		if g.ExternalName != "" && slices.Contains(id.groups, g.ExternalName) {
			granted = append(granted, g.Name)
		}
	}
	var groups []pai.GroupName
	for _, name := range had {
		if known[name].ExternalName == "" || slices.Contains(granted, name) {
			groups = append(groups, name)
		}
	}
	for _, name := range granted {
		if !slices.Contains(groups, name) {
			groups = append(groups, name)
		}
	}
	if !slices.ContainsFunc(groups, func(name pai.GroupName) bool { _, ok := known[name]; return ok }) {
		return nil, pai.Errorf(pai.ForbiddenUserError,
			"None of your groups at the identity provider is one here. Ask an administrator to give a group the external name of one of yours.")
	}
	return groups, nil
}

// identityFrom reads what a provider claims of somebody. Every fault is named with ForbiddenUserError: it is the provider's configuration.
func identityFrom(claims map[string]any, o OpenID) (identity, error) {
	refused := func(format string, args ...any) (identity, error) {
		return identity{}, pai.Errorf(pai.ForbiddenUserError, format, args...)
	}
	text := func(name string) string { s, _ := claims[name].(string); return s }
	id := identity{issuer: text("iss"), subject: text("sub"), email: text("email")}
	id.verified = claims["email_verified"] == true
	full := text(o.UsernameClaim)
	if full == "" {
		return refused("The identity provider does not say your name: it sends no claim %q.", o.UsernameClaim)
	}
	short, _, _ := strings.Cut(full, "@")
	var err error
	if id.name, err = pai.ParseUserName(short); err != nil {
		return refused("The claim %q of the identity provider: %s", o.UsernameClaim, err)
	}
	var listed bool
	if id.groups, listed = groupsFrom(claims, o.GroupsClaim); !listed {
		return refused("You are a member of too many groups for the identity provider to list them: ask for it to be set up to send only those that matter here.")
	}
	return id, nil
}

// groupsFrom reads the list of groups. Directories leave it out when somebody is a member of too many, and say so: then it is not listed.
func groupsFrom(claims map[string]any, name string) (groups []string, listed bool) {
	switch list := claims[name].(type) {
	case []any:
		for _, v := range list {
			if s, ok := v.(string); ok {
				groups = append(groups, s)
			}
		}
		return groups, true
	case string:
		return []string{list}, true
	}
	elsewhere, _ := claims["_claim_names"].(map[string]any)
	return nil, elsewhere[name] == nil && claims["hasgroups"] != true
}
