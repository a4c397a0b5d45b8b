package deploy_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// composed is the project as Compose understands it, the services of profiles among them.
func composed(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(deployed, "compose"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}}, Environment: types.Mapping{},
	}, loader.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestComposeHardened: no container may more than it needs, and none but the proxy faces another network.
func TestComposeHardened(t *testing.T) {
	project := composed(t)
	for _, name := range []string{"proxy", "node-1", "node-2", "operator", "postgres", "vault", "s3", "buckets"} {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	for name, s := range project.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged ||
			!slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.User == "" {
			t.Errorf("%s is not hardened", name)
		}
		if _, out := s.Networks["outside"]; (out || len(s.Ports) > 0 || s.NetworkMode != "") && name != "proxy" {
			t.Errorf("%s faces the outside", name)
		}
		if !strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest") {
			t.Errorf("%s: image %q", name, s.Image)
		}
		oneshot := len(s.Profiles) > 0
		probed := s.HealthCheck != nil && len(s.HealthCheck.Test) > 0
		if node := strings.HasPrefix(name, "node-"); !oneshot && !probed && !node { // the proxy asks the nodes
			t.Errorf("%s has no health check", name)
		}
		for key := range s.Environment {
			if strings.Contains(key, "PASSWORD") && !strings.HasSuffix(key, "_FILE") {
				t.Errorf("%s: %s is in the environment", name, key)
			}
		}
		for _, c := range s.Configs {
			if _, err := os.Stat(project.Configs[c.Source].File); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if n := project.Networks["inside"]; !n.Internal {
		t.Error("the inner network reaches out")
	}
}

// TestComposeFiles: every file that the nodes' configuration names is one that Compose mounts, and every server that it names a service.
func TestComposeFiles(t *testing.T) {
	project, config := composed(t), readTree(t, "compose/sandyq.yaml")
	for _, name := range []string{"node-1", "node-2", "operator"} {
		s := project.Services[name]
		var mounted []string
		for _, secret := range s.Secrets {
			mounted = append(mounted, path.Join("/run/secrets", secret.Source))
		}
		for _, volume := range s.Volumes {
			mounted = append(mounted, volume.Target)
		}
		for _, folder := range s.Tmpfs {
			mounted = append(mounted, strings.SplitN(folder, ":", 2)[0])
		}
		for key, file := range named(t, config) {
			if !slices.ContainsFunc(mounted, func(m string) bool { return file == m || strings.HasPrefix(file, m+"/") }) {
				t.Errorf("%s: %s is %s, which is not mounted", name, key, file)
			}
		}
	}
	proxy, err := os.ReadFile(filepath.Join(deployed, "compose", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	api, ops := port(t, config["listen"]), port(t, config["ops"])
	for _, node := range []string{"node-1", "node-2"} {
		if !strings.Contains(string(proxy), "server "+node+" "+node+":"+api+" verifyhost "+node+"\n") {
			t.Errorf("the proxy does not know %s", node)
		}
	}
	if !strings.Contains(string(proxy), "check port "+ops+" ") || project.Services["proxy"].Ports[0].Published != api {
		t.Error("the proxy asks or publishes another port")
	}
}

// TestComposeSecrets: the script makes every secret that Compose mounts, once, with certificates for the names by which servers are reached.
func TestComposeSecrets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root gives files to another group")
	}
	dir := filepath.Join(t.TempDir(), "secrets")
	prepare := func() map[string]string {
		made := map[string]string{}
		out, err := exec.Command(filepath.Join(deployed, "compose", "prepare"), dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			info, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o337 != 0 {
				t.Errorf("%s has mode %v", f.Name(), info.Mode())
			}
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			made[f.Name()] = string(b)
		}
		return made
	}
	made := prepare()
	for name, secret := range composed(t).Secrets {
		if filepath.Base(secret.File) != name || made[name] == "" {
			t.Errorf("%s (%s) is not made", name, secret.File)
		}
	}
	for name, was := range prepare() {
		if made[name] != was {
			t.Errorf("%s was replaced", name)
		}
	}

	dsn, err := url.Parse(strings.TrimSpace(made["postgres.dsn"]))
	if err != nil {
		t.Fatal(err)
	}
	if password, _ := dsn.User.Password(); password != strings.TrimSpace(made["postgres.password"]) || dsn.Query().Get("sslmode") != "verify-full" {
		t.Error("the DSN does not have the password, or does not verify the server")
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM([]byte(made["ca.crt"])) {
		t.Fatal("no authority")
	}
	for _, host := range []struct{ certificate, name string }{
		{"sandyq", "node-1"}, {"sandyq", "node-2"}, {"postgres", dsn.Hostname()}, {"s3", "s3"}, {"vault", "vault"}, {"vault", "127.0.0.1"},
	} {
		block, _ := pem.Decode([]byte(made[host.certificate+".crt"]))
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: authority, DNSName: host.name}); err != nil {
			t.Errorf("%s: %v", host.name, err)
		}
	}
}

// TestComposeProxy: HAProxy understands its configuration.
func TestComposeProxy(t *testing.T) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		if os.Getenv("SANDYQ_REQUIRE_SERVERS") != "" {
			t.Fatal(err)
		}
		t.Skip("NOT TESTED: there is no haproxy")
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root gives files to another group")
	}
	dir := t.TempDir()
	if out, err := exec.Command(filepath.Join(deployed, "compose", "prepare"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const secrets = "/run/secrets/"
	config := string(readFile(t, "compose/haproxy.cfg"))
	if !strings.Contains(config, secrets) {
		t.Fatal("the proxy verifies no node")
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, secrets, dir+"/")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "-c", "-f", file).CombinedOutput(); err != nil {
		t.Errorf("haproxy -c: %v: %s", err, out)
	}
}
