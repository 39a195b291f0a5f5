// Package credentialprovider is asked for credentials when the image of sandboxes is pulled; nodes have that image.
package credentialprovider

type AuthConfig struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	Auth          string `json:"auth,omitempty"`
	Email         string `json:"email,omitempty"`
	ServerAddress string `json:"serveraddress,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

type DockerKeyring struct{}

func NewDockerKeyring() DockerKeyring { return DockerKeyring{} }

func (DockerKeyring) Lookup(string) ([]AuthConfig, bool) { return nil, false }
