package harness

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	registryConfig   = "/etc/docker/registry/lab.yml"
	registryData     = "/var/lib/docker-registry"
	registryUser     = "ms2m"
	registrySecret   = "ms2m-registry-auth"
	registryPassword = "ms2m-lab"
	registryHash     = "$2a$05$OXVyws/8hVq.R5zcGaAG9.4Viq18a4PM8cRl415zClp/OEmUUHJ0y" // of the password, by bcrypt
)

// LockRegistry has the registry ask everybody for a password.
func (l *Lab) LockRegistry(ctx context.Context) (Undo, error) {
	lock := fmt.Sprintf(`cp %[1]s %[1]s.open && echo '%[2]s:%[3]s' > %[1]s.users &&
printf 'auth:\n  htpasswd: {realm: lab, path: %[1]s.users}\n' >> %[1]s`, registryConfig, registryUser, registryHash)
	open := fmt.Sprintf(`mv %[1]s.open %[1]s`, registryConfig)
	again := func(ctx context.Context, script string) error {
		if _, err := l.Exec(ctx, ctl, "sh", "-c", script); err != nil {
			return err
		}
		return l.Restart(ctx, "registry")
	}
	return l.undo(func(ctx context.Context) error { return again(ctx, open) }), again(ctx, lock)
}

// FillRegistry leaves the registry so few bytes. What it has is out of its sight until that is undone.
func (l *Lab) FillRegistry(ctx context.Context, bytes int) (Undo, error) {
	return l.smallDisk(ctx, ctl, registryData, bytes)
}

// GiveRegistryPassword gives MS2M the password of a locked registry.
func (l *Lab) GiveRegistryPassword(ctx context.Context) (Undo, error) {
	auth := base64.StdEncoding.EncodeToString([]byte(registryUser + ":" + registryPassword))
	var secrets []*corev1.Secret
	for _, namespace := range []string{SystemNamespace, AgentNamespace} {
		secrets = append(secrets, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: registrySecret},
			Type:       corev1.SecretTypeDockerConfigJson,
			StringData: map[string]string{corev1.DockerConfigJsonKey: fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, l.Registry, auth)},
		})
	}
	each := func(ctx context.Context, do func(context.Context, *corev1.Secret) error) (err error) {
		for _, s := range secrets {
			err = errors.Join(err, do(ctx, s))
		}
		return err
	}
	// Not by undo: a registry that is still locked does not look ready to the lab.
	return func(ctx context.Context) error {
		return each(ctx, func(ctx context.Context, s *corev1.Secret) error { return l.Client.Delete(ctx, s) })
	}, each(ctx, func(ctx context.Context, s *corev1.Secret) error { return l.Client.Create(ctx, s) })
}
