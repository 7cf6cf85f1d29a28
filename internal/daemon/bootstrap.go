package daemon

import (
	"context"
	"fmt"
	"os"
	"strings"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auth"
	"github.com/pai-storage/pai-storage/internal/kube"
)

// bootstrap makes the first administrator and the groups that every cluster has, as far as they are missing. Several replicas may do so
// at once.
func (s *restServer) bootstrap(ctx context.Context, cluster *kube.Cluster, accounts *auth.Accounts) error {
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
	if err != nil {
		return fmt.Errorf("--bootstrap-admin-password-file: %w", err)
	}
	err = accounts.CreateUser(ctx, pai.NewUser{Name: name, Password: pai.Password(strings.TrimRight(string(password), "\r\n")), Admin: true})
	if err != nil && pai.CodeOf(err) != pai.ConflictUserError {
		return fmt.Errorf("create the administrator %s: %w", name, err)
	}
	s.log.Info("administrator is there", "user", name)
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
