// Package deploy_test holds what is in deploy/ to the tools that will read it: Compose's own loader, the engine of Helm, the types and the pod
// security rules of Kubernetes, systemd-analyze. It is a module of its own, so that none of them is among what the product is built of.
//
// What Sandyq reads is read by its own parser in a test beside that. Here every file that a configuration names must be one that the
// deployment puts there.
package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// deployed is the folder of what is checked.
const deployed = "../../deploy"

// tree is a YAML document.
type tree = map[string]any

// readTree reads a YAML file.
func readTree(t *testing.T, path string) tree {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployed, path))
	if err != nil {
		t.Fatal(err)
	}
	var into tree
	if err := yaml.UnmarshalStrict(b, &into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return into
}

// named are the absolute paths among the values of a configuration, by their keys. There is at least one.
func named(t *testing.T, config tree) map[string]string {
	t.Helper()
	paths := map[string]string{}
	var walk func(at string, value any)
	walk = func(at string, value any) {
		switch v := value.(type) {
		case tree:
			for key, below := range v {
				walk(at+"."+key, below)
			}
		case string:
			if strings.HasPrefix(v, "/") {
				paths[strings.TrimPrefix(at, ".")] = v
			}
		}
	}
	walk("", config)
	if len(paths) == 0 {
		t.Fatal("the configuration names no file")
	}
	return paths
}

// port is the port of HOST:PORT.
func port(t *testing.T, address any) string {
	t.Helper()
	text, _ := address.(string)
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		t.Fatalf("%v is no HOST:PORT", address)
	}
	return text[at+1:]
}
