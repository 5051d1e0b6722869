@echo off
rem The part of the desktop launcher that starts the app behind the gate.
rem Guide: https://github.com/robodj/robodj-secretguard/blob/main/docs/deployment.md
rem The keys are in the environment of this program. Never use `setx`: it writes them into the registry.
setlocal
rem The pyproject.toml in this folder names the app's model, and config\ has the revocation list.
cd /d "%~dp0"
set "ROBODJ_PROTECTED_ENV=true"

".venv\Scripts\robodj-secretguard.exe" exec -- ".venv\Scripts\python.exe" -m app
if %errorlevel% equ 3 (
    echo RoboDJ was not started. The lines above say why, and how to fix it.
    pause
    exit /b 3
)
if %errorlevel% neq 0 exit /b %errorlevel%
