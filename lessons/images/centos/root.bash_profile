# For a login bash of root.
if [ -f ~/.bashrc ]; then
    . ~/.bashrc
fi
