package hashicorp

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// The methods of [Auth].
const (
	MethodAppRole    = "approle"
	MethodKubernetes = "kubernetes"
	MethodJWT        = "jwt"
	MethodCert       = "cert"
	MethodToken      = "token"
)

// ServiceAccountToken is where Kubernetes puts a pod's own token.
const ServiceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// Auth is a login. Files are read anew at every login, so that their contents may be changed under a running process. What a
// method does not use must be empty.
type Auth struct {
	Method       string `yaml:"method"`         // approle, kubernetes, jwt, cert or token
	Mount        string `yaml:"mount"`          // where the method is enabled; its own name when empty
	RoleIDFile   string `yaml:"role_id_file"`   // of approle
	SecretIDFile string `yaml:"secret_id_file"` // of approle
	Role         string `yaml:"role"`           // of kubernetes and jwt
	JWTFile      string `yaml:"jwt_file"`       // of kubernetes and jwt; for kubernetes ServiceAccountToken when empty
	CertFile     string `yaml:"cert_file"`      // of cert: PEM, the chain
	KeyFile      string `yaml:"key_file"`       // of cert: PEM
	Name         string `yaml:"name"`           // of cert: the certificate role; any that vouches for the certificate when empty
	TokenFile    string `yaml:"token_file"`     // of token; the environment's VAULT_TOKEN when empty
}

var roleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// complete checks a and fills in what is left out.
func (a Auth) complete() (Auth, error) {
	switch a.Method {
	case MethodAppRole, MethodKubernetes, MethodJWT, MethodCert:
		a.Mount = or(a.Mount, a.Method)
		if !mountName.MatchString(a.Mount) {
			return a, errors.New("the mount of auth is 1 to 64 of a-z, 0-9, _ and -")
		}
	case MethodToken:
	default:
		return a, errors.New("auth method is none of approle, kubernetes, jwt, cert and token")
	}
	if a.Method == MethodKubernetes {
		a.JWTFile = or(a.JWTFile, ServiceAccountToken)
	}
	for _, s := range a.settings() {
		switch {
		case s.value != "" && !slices.Contains(s.methods, a.Method):
			return a, fmt.Errorf("auth method %s does not use %s", a.Method, s.name)
		case s.value == "" && s.required && slices.Contains(s.methods, a.Method):
			return a, fmt.Errorf("auth method %s needs %s", a.Method, s.name)
		}
	}
	for _, name := range []string{a.Role, a.Name} {
		if name != "" && !roleName.MatchString(name) {
			return a, errors.New("role and name of auth are 1 to 128 letters, digits, _, - and dots")
		}
	}
	return a, nil
}

// setting is one of Auth's and the methods that it is for.
type setting struct {
	name, value string
	required    bool
	methods     []string
}

func (a Auth) settings() []setting {
	return []setting{
		{"mount", a.Mount, false, []string{MethodAppRole, MethodKubernetes, MethodJWT, MethodCert}},
		{"role_id_file", a.RoleIDFile, true, []string{MethodAppRole}},
		{"secret_id_file", a.SecretIDFile, true, []string{MethodAppRole}},
		{"role", a.Role, true, []string{MethodKubernetes, MethodJWT}},
		{"jwt_file", a.JWTFile, true, []string{MethodKubernetes, MethodJWT}},
		{"cert_file", a.CertFile, true, []string{MethodCert}},
		{"key_file", a.KeyFile, true, []string{MethodCert}},
		{"name", a.Name, false, []string{MethodCert}},
		{"token_file", a.TokenFile, false, []string{MethodToken}},
	}
}

// SecretFiles are the files that nobody else may read. A pod's token is not among them: Kubernetes sees to it.
func (a Auth) SecretFiles() []string {
	files := []string{a.SecretIDFile, a.KeyFile, a.TokenFile}
	if a.Method != MethodKubernetes {
		files = append(files, a.JWTFile)
	}
	return slices.DeleteFunc(files, func(path string) bool { return path == "" })
}

// Files are the settings of a that name files.
func (a *Auth) Files() []*string {
	return []*string{&a.RoleIDFile, &a.SecretIDFile, &a.JWTFile, &a.CertFile, &a.KeyFile, &a.TokenFile}
}
