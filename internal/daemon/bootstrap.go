package daemon

import (
	"context"
	"fmt"
	"os"
	"strings"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auth"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// bootstrap makes the first administrator and the groups that every cluster has, as far as they are missing. Several replicas may do so
// at once.
func (s *restServer) bootstrap(ctx context.Context, cluster *kube.Cluster, accounts *auth.Accounts) error {
	if s.signOn.on() {
		return s.bootstrapGroups(ctx, cluster)
	}
	if s.bootstrapAdmin == "" {
		return nil
	}
	name, err := pai.ParseUserName(s.bootstrapAdmin)
	if err != nil {
		return fmt.Errorf("--bootstrap-admin: %w", err)
	}
	if err := createGroups(ctx, cluster); err != nil {
		return err
	}
	if _, err := cluster.User(ctx, name); err == nil {
		return nil
	}
	password, err := os.ReadFile(s.bootstrapPassword)
	if err == nil {
		password, err = yamltext.Text(password)
	}
	if err != nil {
		return fmt.Errorf("--bootstrap-admin-password-file: %w", err)
	}
	_, err = accounts.CreateUser(ctx, pai.NewUser{Name: name, Password: pai.Password(strings.TrimRight(string(password), "\r\n")), Admin: true})
	if err != nil && pai.CodeOf(err) != pai.ConflictUserError {
		return fmt.Errorf("create the administrator %s: %w", name, err)
	}
	s.log.Info("administrator is there", "user", name)
	return nil
}

// bootstrapGroups makes the groups that every cluster has, and lets members of a group of the identity provider be administrators. An
// external name that somebody gave to the group already stays.
func (s *restServer) bootstrapGroups(ctx context.Context, cluster *kube.Cluster) error {
	if err := createGroups(ctx, cluster); err != nil || s.signOn.adminGroup == "" {
		return err
	}
	g, err := cluster.Group(ctx, pai.AdminGroup)
	switch {
	case err != nil:
		return err
	case g.ExternalName == "":
		_, err = cluster.ChangeGroup(ctx, pai.GroupChange{Name: pai.AdminGroup, ExternalName: &s.signOn.adminGroup, Patch: true, Version: g.Version})
		if pai.CodeOf(err) == pai.OutdatedVersionError || pai.CodeOf(err) == pai.ConflictGroupError {
			err = nil // another replica did it
		}
		return err
	case g.ExternalName != s.signOn.adminGroup:
		s.log.Warn("--oidc-admin-group is not what the group of administrators has", "group", pai.AdminGroup, "externalName", g.ExternalName)
	}
	return nil
}

func createGroups(ctx context.Context, cluster *kube.Cluster) error {
	for _, g := range []pai.Group{
		{Name: pai.DefaultGroup, Description: "group for default vc", Extension: acls(false, "default")},
		{Name: pai.AdminGroup, Description: "group for admin", Extension: acls(true)},
	} {
		if _, err := cluster.Group(ctx, g.Name); err == nil {
			continue
		}
		if _, err := cluster.CreateGroup(ctx, g); err != nil && pai.CodeOf(err) != pai.ConflictGroupError {
			return err
		}
	}
	return nil
}

func acls(admin bool, virtualClusters ...any) map[string]any {
	if virtualClusters == nil {
		virtualClusters = []any{}
	}
	return map[string]any{"acls": map[string]any{"admin": admin, "virtualClusters": virtualClusters, "storageConfigs": []any{}}}
}
