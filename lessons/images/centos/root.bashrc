# For interactive bash of root. Not every bash reads a file of the whole system, so it is read from here.
if [ -f /etc/bashrc ]; then
    . /etc/bashrc
fi
