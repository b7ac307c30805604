# The bash of Debian and its relatives reads this name; the settings are in /etc/bashrc.
if [ -f /etc/bashrc ]; then
    . /etc/bashrc
fi
