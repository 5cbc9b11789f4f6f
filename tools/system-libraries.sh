#!/usr/bin/env bash
# Installs what pip's Qt wheels, the tests' virtual screen and (for Debian's Python) venv need,
# where they are missing and where that is possible (Debian, Ubuntu; root or sudo without a password).
# Otherwise names them in one sentence. Never fails: without them all but the window still works.
set -u

packages=(
  xvfb xauth libegl1 libgl1 libgl1-mesa-dri libdbus-1-3 libfontconfig1 libglib2.0-0 libxkbcommon-x11-0
  libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
  libxcb-shape0 libxcb-xinerama0
)

[ "$(uname -s)" = Linux ] || exit 0

if ! command -v dpkg-query >/dev/null; then
  echo "This is no Debian: if the napari window does not open, install what your distribution calls ${packages[*]}."
  exit 0
fi
# Debian's own Python comes without what makes virtual environments
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)

installed() { # Debian 13 and Ubuntu 24.04 gave some libraries the suffix t64
  dpkg-query -W -f '${db:Status-Status}\n' "$1" "$1t64" 2>/dev/null | grep -qx installed
}

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
  else
    echo "The napari window needs these libraries: run 'sudo apt-get install ${missing[*]}' once."
    exit 0
  fi
fi

echo "Installing Qt's system libraries: ${missing[*]}"
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >/dev/null
}
"${as_root[@]}" apt-get update >/dev/null 2>&1
if ! install "${missing[@]}"; then
  for package in "${missing[@]}"; do # one unknown name must not keep the others out
    install "$package" 2>/dev/null || echo "apt-get could not install $package: the napari window may not open without it."
  done
fi
exit 0
